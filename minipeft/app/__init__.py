"""What is typed: the command line, a chat in the terminal, a server, and the runs that write folders."""
