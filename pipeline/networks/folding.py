"""Batch-norm folded into the convolution before it: the same function in fewer passes over memory."""

import copy

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norm(module: fx.GraphModule) -> fx.GraphModule:
    """Fold every batch-norm that alone follows a convolution; the module must be in evaluation mode. Its weights are copied, not changed."""
    modules = dict(module.named_modules())
    for node in list(module.graph.nodes):
        if node.op != "call_module" or not isinstance(modules[node.target], nn.BatchNorm2d):
            continue
        before = node.args[0]
        if before.op != "call_module" or not isinstance(modules[before.target], nn.Conv2d) or len(before.users) > 1:
            continue
        convolution = copy.copy(modules[before.target])
        _replace(module, before.target, fuse_conv_bn_eval(convolution, modules[node.target]))
        node.replace_all_uses_with(before)
        module.graph.erase_node(node)
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _replace(module: nn.Module, path: str, new: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, new)
