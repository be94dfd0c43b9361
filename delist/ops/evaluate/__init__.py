"""How well one's own photos are found again after common edits, and what else is found.

``edits`` makes copies, ``measuring`` looks them up in both tiers, ``tails`` carries the rare
false match on to the number of signals that a feed has, ``summary`` puts it into a document
and recommends thresholds, ``report`` draws it.

Photos stay in memory. What is written holds counts and distances: no pixel, no digest, no
path; names of files only where they are asked for.
"""
