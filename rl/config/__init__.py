"""The configuration of a run: its records (`schema`), the one door (`door`) and the rules checked there."""

from rl.config.media import MediaConfig
from rl.config.schema import (
    Aggregation,
    ComputeConfig,
    Config,
    Control,
    DataConfig,
    EvalConfig,
    GrpoConfig,
    JudgeConfig,
    LoraConfig,
    LossType,
    ModelConfig,
    RewardConfig,
    ScaleRewards,
    SftConfig,
    Train,
)

__all__ = [
    "Aggregation",
    "ComputeConfig",
    "Config",
    "Control",
    "DataConfig",
    "EvalConfig",
    "GrpoConfig",
    "JudgeConfig",
    "LoraConfig",
    "LossType",
    "MediaConfig",
    "ModelConfig",
    "RewardConfig",
    "ScaleRewards",
    "SftConfig",
    "Train",
]
