"""Figures and self-contained HTML pages, made from result files alone."""

from helicon.report.figures.browser import Feature, Panel, genome_browser
from helicon.report.figures.comparison import comparison
from helicon.report.figures.confusion import confusion_matrix
from helicon.report.figures.curves import learning_curves, loss_curves
from helicon.report.figures.dissimilarity import dissimilarity
from helicon.report.figures.figure import Figure
from helicon.report.figures.scatter import scatter
from helicon.report.pages.demo import demo_report, region_figure
from helicon.report.pages.page import (
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
from helicon.report.pages.protein_demo import protein_demo_report
from helicon.report.pages.run import run_report
from helicon.report.results.demo import DemoResults
from helicon.report.results.protein_demo import ProteinDemoResults
from helicon.report.results.spread import Spread
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
