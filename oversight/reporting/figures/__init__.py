"""The figures of a report, each in a wide form and in one for a phone."""
