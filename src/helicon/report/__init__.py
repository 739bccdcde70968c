"""Figures and self-contained HTML pages, made from result files alone."""

from helicon.report.browser import Feature, Panel, genome_browser
from helicon.report.comparison import comparison
from helicon.report.confusion import confusion_matrix
from helicon.report.curves import learning_curves, loss_curves
from helicon.report.demo_report import demo_report, region_figure
from helicon.report.demo_results import DemoResults
from helicon.report.dissimilarity import dissimilarity
from helicon.report.figure import Figure
from helicon.report.html import (
    Card,
    Cards,
    Columns,
    Commands,
    Facts,
    Items,
    Prose,
    Report,
    Section,
    Source,
)
from helicon.report.protein_demo_report import protein_demo_report
from helicon.report.protein_demo_results import ProteinDemoResults
from helicon.report.run_report import run_report
from helicon.report.scatter import scatter
from helicon.report.statistics import Spread
from helicon.report.tables import Column, Table

__all__ = [
    "Card",
    "Cards",
    "Column",
    "Columns",
    "Commands",
    "DemoResults",
    "Facts",
    "Feature",
    "Figure",
    "Items",
    "Panel",
    "Prose",
    "ProteinDemoResults",
    "Report",
    "Section",
    "Source",
    "Spread",
    "Table",
    "comparison",
    "confusion_matrix",
    "demo_report",
    "dissimilarity",
    "genome_browser",
    "learning_curves",
    "loss_curves",
    "protein_demo_report",
    "region_figure",
    "run_report",
    "scatter",
]
