"""The report of a study: results, comparisons, tables and figures, and one page for a browser."""
