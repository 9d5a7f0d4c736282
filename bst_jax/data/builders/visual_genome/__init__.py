"""Visual Genome: `builder` makes the records, `names` cleans what is told."""
