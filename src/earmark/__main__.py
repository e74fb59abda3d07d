"""`python -m earmark`, which is the command `earmark`."""

from earmark.pipelines.cli import run

if __name__ == "__main__":
    run()
