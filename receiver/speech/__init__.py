"""Synthesize speech from a process of its own: one text, or each line of a batch that can be resumed.

The functions here return data and raise errors. They print nothing; the caller shows the progress.
"""
