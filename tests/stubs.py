"""`make export` writes a stub beside each module whose classes get methods after their making: a type checker sees those nowhere else."""

import ast
import builtins
import importlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = "# Written by `make export` from {name}, with the methods that its classes get after their making.\n"


def read(path: Path) -> ast.Module:
    "A module, parsed."
    return ast.parse(path.read_text(encoding="utf8"))


def attachments(tree: ast.Module) -> list[tuple[str, str, ast.expr]]:
    "(class, method, what it is) for every `Class.method = function` of a module."
    found = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            (target,) = node.targets
            targets, values = (target.elts, node.value.elts) if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple) \
                else ([target], [node.value])
            found += [(place.value.id, place.attr, value) for place, value in zip(targets, values, strict=True)
                      if isinstance(place, ast.Attribute) and isinstance(place.value, ast.Name)]
    return found


def function_of(value: ast.expr, tree: ast.Module) -> tuple[ast.FunctionDef, str | None]:
    "The function that becomes a method, and its decorator; what a function returns is the function defined in it."
    if isinstance(value, ast.Lambda):  # only `__len__` is so short
        return ast.FunctionDef("", value.args, [], [], ast.Name("int"), type_params=[]), None
    if isinstance(value, ast.Call) and value.func.id in ("staticmethod", "property"):
        return function_of(value.args[0], tree)[0], value.func.id
    name = value.func.id if isinstance(value, ast.Call) else value.id
    (found,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    if isinstance(value, ast.Call):
        (found,) = [node for node in found.body if isinstance(node, ast.FunctionDef)]
    return found, None


def blank(function: ast.FunctionDef, name: str, decorators: list[ast.expr], bound: bool) -> ast.FunctionDef:
    "A function without body and defaults; the first parameter of a method is `self`."
    def dots(values):
        return [value and ast.Constant(...) for value in values]

    old = function.args
    args = [ast.arg(arg.arg, arg.annotation) for arg in old.args]
    if bound:
        args[0] = ast.arg("self")
    new = ast.arguments(old.posonlyargs, args, old.vararg, old.kwonlyargs, dots(old.kw_defaults), old.kwarg, dots(old.defaults))
    return ast.FunctionDef(name, new, [ast.Expr(ast.Constant(...))], decorators, function.returns, type_params=[])


def hidden(name: str) -> bool:
    "A name that is nobody else's business."
    return name.startswith("_") and not name.endswith("__") or name == "__post_init__"


def set_in(method: ast.FunctionDef, anywhere: bool) -> list[tuple[str, ast.expr]]:
    "(attribute, value) for what a method sets of an object; or only what it sets in any case."
    found = []
    for line in ast.walk(method) if anywhere else method.body:
        if isinstance(line, ast.Assign):
            pairs = [(line.targets[0], line.value)]
            if isinstance(line.targets[0], ast.Tuple):
                values = line.value.elts if isinstance(line.value, ast.Tuple) else [line.value]*len(line.targets[0].elts)
                pairs = list(zip(line.targets[0].elts, values, strict=True))
            found += [(place.attr, value) for place, value in pairs
                      if isinstance(place, ast.Attribute) and ast.unparse(place.value) == "self"]
    return found


def attributes(method: ast.FunctionDef) -> list[ast.stmt]:
    "What `__init__` sets, with the types of the parameters, or those of what is called."
    given = {arg.arg: arg.annotation for arg in [*method.args.args, *method.args.kwonlyargs] if arg.annotation}
    found = {}
    for name, value in set_in(method, True):
        called = ast.unparse(value.func) if isinstance(value, ast.Call) else ""
        made = ast.Name(called) if re.fullmatch(r"(\w+\.)?[A-Z]\w+", called) else ast.Name("Any")
        found.setdefault(name, given.get(getattr(value, "id", ""), made))
    return [ast.AnnAssign(ast.Name(name), kind, None, 1) for name, kind in found.items() if not hidden(name)]


def completed(method: ast.FunctionDef, fields: list[ast.AnnAssign]) -> list[ast.stmt]:
    "The same for `__post_init__`: `__init__` takes None for a field, and the object has what belongs there."
    names = {line.target.id for line in fields}
    added = [ast.FunctionDef(name, ast.parse("lambda self: 0").body[0].value.args, [ast.Expr(ast.Constant(...))], [ast.Name("property")],
                             ast.Name("Any"), type_params=[])
             for name, _ in dict(set_in(method, True)).items() if name not in names and not hidden(name)]
    filled = {name for name, value in set_in(method, False)
              if not (isinstance(value, ast.IfExp) and "None" in (ast.unparse(value.body), ast.unparse(value.orelse)))}
    optional = [line for line in fields if line.target.id in filled and ast.unparse(line.annotation).endswith(" | None")]
    if not optional:
        return added
    args = [ast.arg("self")] + [ast.arg(line.target.id, line.annotation) for line in fields]
    init = ast.arguments([], args, None, [], [], None, [ast.Constant(...) for line in fields if line.value])
    for line in optional:
        line.annotation = line.annotation.left
    return [ast.FunctionDef("__init__", init, [ast.Expr(ast.Constant(...))], [], ast.Constant(None), type_params=[]), *added]


def class_stub(node: ast.ClassDef, extra: list[ast.FunctionDef]) -> ast.ClassDef:
    "Fields, attributes and methods of a class."
    fields = []
    for line in node.body:
        if isinstance(line, ast.AnnAssign):
            asked = isinstance(line.value, ast.Call) and any(word.arg == "init" for word in line.value.keywords)
            fields.append(ast.AnnAssign(line.target, line.annotation, line.value if asked else line.value and ast.Constant(...), 1))
    body, own = [*fields], {method.name: method for method in node.body if isinstance(method, ast.FunctionDef)}
    body += attributes(own["__init__"]) if "__init__" in own else []
    body += completed(own["__post_init__"], fields) if "__post_init__" in own else []
    body += [blank(method, method.name, method.decorator_list, False) for method in node.body
             if isinstance(method, ast.FunctionDef) and not hidden(method.name)] + extra
    return ast.ClassDef(node.name, node.bases, node.keywords, body or [ast.Expr(ast.Constant(...))], node.decorator_list, type_params=[])


def kind_of(value) -> str:
    "The type of a constant."
    if isinstance(value, tuple) and value:
        return f"tuple[{kind_of(value[0])}, ...]"
    if isinstance(value, dict) and value:
        return "dict[" + ", ".join(kind_of(one) for one in next(iter(value.items()))) + "]"
    return type(value).__name__


def names_in(nodes) -> set[str]:
    "The names that some code uses, those in quoted annotations too."
    text = "\n".join(ast.unparse(ast.fix_missing_locations(node)) for node in nodes)
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)} | set(re.findall(r"'(\w+)'", text))


def imports_for(needed: set[str], tree: ast.Module, own: str, here: bool) -> list[ast.stmt]:
    "The imports of a module that give these names; from elsewhere, also those of what it defines."
    found = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            kept = [alias for alias in node.names if (alias.asname or alias.name).partition(".")[0] in needed]
            if kept:
                found.append(ast.Import(kept) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, kept, node.level))
    defined = [] if here else sorted({node.name for node in tree.body if isinstance(node, ast.ClassDef)} & needed)
    return found + ([ast.ImportFrom(own, [ast.alias(name) for name in defined], 0)] if defined else [])


def stub(path: Path, tree: ast.Module, added: dict[str, list]) -> str:
    "The text of the stub of a module; added: class -> (method, value, module that adds it, its name)."
    name, body, foreign = ".".join(path.relative_to(ROOT).with_suffix("").parts), [], []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not hidden(node.name):
            extra = []
            for method, value, source, origin in added.get(node.name, []):
                function, decorator = function_of(value, source)
                extra.append(blank(function, method, [ast.Name(decorator)] if decorator else [], decorator != "staticmethod"))
                foreign += [(extra[-1], source, origin)]*(origin != name)
            body.append(class_stub(node, extra))
        elif isinstance(node, ast.FunctionDef) and not hidden(node.name):
            body.append(blank(node, node.name, node.decorator_list, False))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and not hidden(node.targets[0].id) \
                and node.targets[0].id != "__all__":
            kind = kind_of(getattr(importlib.import_module(name), node.targets[0].id))
            body.append(ast.AnnAssign(node.targets[0], ast.Name(kind), None, 1))
    needed = names_in(body)
    heads = imports_for(needed, tree, name, True)
    for function, source, origin in foreign:
        inherited = {alias.asname or alias.name for head in heads if isinstance(head, ast.Import | ast.ImportFrom) for alias in head.names}
        heads += imports_for(names_in([function]) - inherited, source, origin, False)
    heads += [ast.ImportFrom("typing", [ast.alias("Any")], 0)]*("Any" in needed)
    provided = {alias.asname or alias.name for head in heads for alias in head.names} | {getattr(node, "name", "") for node in body}
    missing = needed - provided - set(dir(builtins)) - {"self", "Ellipsis"}
    lost = sorted(word for word in missing if word not in {getattr(getattr(node, "target", None), "id", "") for node in ast.walk(
        ast.Module(body, [])) if isinstance(node, ast.AnnAssign)})
    assert not lost, f"{name}: its stub does not say what these are: {lost}"
    return HEAD.format(name=path.name) + "\n".join(ast.unparse(ast.fix_missing_locations(node)) for node in heads + body) + "\n"


def stubs() -> dict[Path, str]:
    "Each stub with its text."
    paths = sorted(path for path in (ROOT/"matattn").rglob("*.py") if path.name not in ("__init__.py", "_modidx.py"))
    trees = {".".join(path.relative_to(ROOT).with_suffix("").parts): (path, read(path)) for path in paths}
    added = {}
    for name, (_, tree) in trees.items():
        places = {node.name: name for node in tree.body if isinstance(node, ast.ClassDef)}
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                base = name.split(".")[:-node.level] if node.level else []
                places |= {alias.name: ".".join([*base, node.module or ""]) for alias in node.names}
        for owner, method, value in attachments(tree):
            added.setdefault(places[owner], {}).setdefault(owner, []).append((method, value, tree, name))
    return {trees[name][0].with_suffix(".pyi"): stub(*trees[name], classes) for name, classes in sorted(added.items())}


if __name__ == "__main__":
    written = stubs()
    for path in set((ROOT/"matattn").rglob("*.pyi")) - set(written):
        path.unlink()
    for path, text in written.items():
        path.write_text(text, encoding="utf8")
