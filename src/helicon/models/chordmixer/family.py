"""FinDNA's named sizes and layout."""

from helicon.models.chordmixer.network import ChordMixer, ChordMixerConfig
from helicon.models.chordmixer.published import FinDnaLayout
from helicon.models.parts.family import Family

FAMILY = Family(
    backbone=ChordMixer,
    config=ChordMixerConfig,
    sizes={
        "findna-tiny": ChordMixerConfig(group=6, layers=2, hidden=128),
        "findna": ChordMixerConfig(),
        "chordmixer": ChordMixerConfig(),
    },
    layouts=(FinDnaLayout(),),
)
