"""Snapshots in Bazel. All inputs are declared, so that the action can be sandboxed and kept in a remote cache."""

def _wasm_snapshot_impl(ctx):
    out = ctx.actions.declare_file(ctx.label.name + ".snap.wasm")
    report = ctx.actions.declare_file(ctx.label.name + ".report.json")
    args = ctx.actions.args()
    args.add("snapshot")
    args.add(ctx.file.src)
    args.add("-o", out)
    args.add("--report", report)
    args.add("--until", ctx.attr.until)
    args.add_all(ctx.attr.warm_up, before_each = "--warm-up")
    args.add_all(ctx.attr.args_of_snapshot)
    ctx.actions.run(
        executable = ctx.executable.prewasm,
        arguments = [args],
        inputs = depset([ctx.file.src] + ctx.files.data),
        outputs = [out, report],
        mnemonic = "WasmSnapshot",
        progress_message = "Running the start-up of %{input}",
        # Nothing of the machine decides the output: no variables are passed on.
        env = {},
    )
    return [DefaultInfo(files = depset([out])), OutputGroupInfo(report = depset([report]))]

wasm_snapshot = rule(
    implementation = _wasm_snapshot_impl,
    attrs = {
        "src": attr.label(allow_single_file = [".wasm", ".wat"], mandatory = True),
        "until": attr.string(default = "auto"),
        "warm_up": attr.string_list(doc = "Requests; name body files by their path from the workspace."),
        "data": attr.label_list(allow_files = True, doc = "Files which the options name."),
        "args_of_snapshot": attr.string_list(doc = "Further options of `prewasm snapshot`."),
        "prewasm": attr.label(allow_files = True, executable = True, cfg = "exec", mandatory = True),
    },
)
