"""The toy task on two processes; each has half of the batch.

python toy_ddp.py FOLDER '{"steps": 6}'
"""

import json
import sys

import torch
from toy_task import ToyModel, train

if __name__ == "__main__":
    torch.set_num_threads(1)
    train(
        sys.argv[1],
        model=ToyModel(dropout=0),
        devices=2,
        strategy="ddp",
        **json.loads(sys.argv[2]),
    )
