"""The operator's console as people see it: a believable receiver, its pages, and pictures of them."""
