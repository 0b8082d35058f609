"""Several processes that train or evaluate together, started by `torchrun`.

`ranks` is what the rest of the package sees: rows of a global batch, and sums and gathers over them. `launch`
joins the processes of a command line.
"""
