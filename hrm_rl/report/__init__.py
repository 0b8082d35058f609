"""What a run found, for people to see: one page for a browser (`report`), one puzzle in a terminal (`watch`).

`page/` has the page's HTML, CSS and JavaScript, written by hand, and plotly.js (basic, MIT licence). Python
collects the data.
"""
