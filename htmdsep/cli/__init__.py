"""The command htmdsep: its flags, what it prints, its exit status."""
