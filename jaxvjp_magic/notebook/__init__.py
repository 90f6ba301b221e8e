"""The part that runs in IPython: magics, checked cells, where a line of a cell is."""
