"""What follows from a match: cases, decisions, suppression records, reports and their edges."""
