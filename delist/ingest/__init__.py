"""An existing index or archive into the store: folders, tables and WARC files (ADR 0046).

``sources`` read what is there, row by row; ``work`` makes visits of rows, in several processes
(``pool``); ``recording`` writes them in order with how far the source has come; ``ingesting`` puts
this together. An image that comes this way ends as a crawled one does.
"""
