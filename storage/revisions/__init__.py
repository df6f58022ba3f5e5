"""The changes of the schema, one a file, each never to be changed again."""
