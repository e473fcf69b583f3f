"""Short names for documented instruct models, and the licence each comes under."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LanguageModel:
    """A model as a server knows it; `licence` is empty for one we know nothing of."""

    name: str
    licence: str = ""

    def described(self) -> str:
        """Name, with the licence where known."""
        return f"{self.name} ({self.licence})" if self.licence else self.name


ALIASES = {
    "llama": LanguageModel("meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1 Community License, gated: accept it first"),
    "qwen": LanguageModel("Qwen/Qwen2.5-7B-Instruct", "Apache-2.0"),
    "mistral": LanguageModel("mistralai/Mistral-7B-Instruct-v0.3", "Apache-2.0"),
}


def resolve_model(name: str) -> LanguageModel:
    """The model behind an alias; any other name or path stands for itself."""
    return ALIASES.get(name, LanguageModel(name))
