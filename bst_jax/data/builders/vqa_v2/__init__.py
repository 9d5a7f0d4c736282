"""VQA-v2 and Visual Genome's questions about its pictures.

`builder` makes the records, `minival` chooses the held-out pictures, and
`visual_genome` reads the extra questions.
"""
