"""Which bundles there are, and what each is."""

from typing import Any

from fastapi import APIRouter, Request

from ...core.version import __version__
from ..state import studio_of

router = APIRouter(prefix="/api")


@router.get("/info")
async def info(request: Request) -> dict[str, Any]:
    """The version, the names of the bundles, and the default one."""
    catalogue = studio_of(request).catalogue
    return {"version": __version__, "bundles": catalogue.names(), "bundle": catalogue.default}


@router.get("/bundles/{name}")
async def bundle(name: str, request: Request) -> dict[str, Any]:
    """Sizes, labels, conditions and licence of a bundle."""
    return await studio_of(request).with_model(name, lambda model: model.about())
