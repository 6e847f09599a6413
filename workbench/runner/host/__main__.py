"""Started by the client: `python -m workbench.runner.host FD PARENT`."""

from workbench.runner.host.process import main

main()
