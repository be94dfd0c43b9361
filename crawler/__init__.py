"""The Scrapy edge: finds images on pages, hands their bytes to the hasher, keeps no pixels."""
