"""The model as a function: columns, validation, payload log, and prediction over files and streams."""
