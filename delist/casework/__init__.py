"""From facts to the state of a case: collecting, grouping, braking, assessing."""
