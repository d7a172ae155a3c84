"""What the texts of a dataset tell: the findings of the audit and the numbers of the charts."""
