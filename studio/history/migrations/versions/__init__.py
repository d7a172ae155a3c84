"""One file a step: `<revision>_<what>.py`. A step is never changed once it has been released."""
