"""The report of a study: from its results to estimates, a verdict, tables, figures and a page."""
