"""What the tests of several packages share. Nothing here is imported by the programs themselves."""
