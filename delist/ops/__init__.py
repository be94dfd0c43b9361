"""Operating the system: what runs beside or around it, and is no part of a decision."""
