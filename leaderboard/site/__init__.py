"""The site: pages that open from disk, of one's own results and the published ones."""
