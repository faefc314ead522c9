"""Render the report of one model: a single HTML file that needs nothing beside it."""

from nanou_deploy.report.data import AccuracyRow, OperatorRow, ReportData, operator_rows
from nanou_deploy.report.page import render_report
from nanou_deploy.report.pictures import Panel, write_panel_png

__all__ = [
    "AccuracyRow",
    "OperatorRow",
    "Panel",
    "ReportData",
    "operator_rows",
    "render_report",
    "write_panel_png",
]
