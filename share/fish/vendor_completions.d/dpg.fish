# fish, at the first Tab behind dpg: always what the installed command says.
dpg completion fish 2>/dev/null | source
