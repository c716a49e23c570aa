"""The library behind the tasks: settings, engines, stores. It knows neither Invoke nor the app's own data."""

VERSION = "0.1.0"
