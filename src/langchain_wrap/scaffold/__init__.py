"""`langchain-wrap new`: a package that someone can publish, from templates.

`templates/common` is in every package; the folder of a kind is laid over it. What the files say is
filled in by `string.Template`.
"""
