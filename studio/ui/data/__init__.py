"""Tab 2, Data, which is the largest: what is chosen and how it is read on the left, what it means on the right."""
