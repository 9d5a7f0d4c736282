"""Any folder of questions and pictures; README.md states its form."""
