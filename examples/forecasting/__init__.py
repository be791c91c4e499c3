"""A platform that forecasts, as an example: every two hours, with a summary each morning and a cleanup each week."""
