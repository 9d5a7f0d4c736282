"""Digit scenes: synthetic pictures of real handwritten digits, with questions.

A module of this folder holds one subject each: `scenes` samples what is in a
picture, `drawing` draws it, `programs` asks questions with exact answers,
`asking` balances them, `annotators` answers ten times, `captions` and `pairs`
write sentences, `examples` puts a split together, `features` reads plates and
`builder` hands everything to TFDS.
"""
