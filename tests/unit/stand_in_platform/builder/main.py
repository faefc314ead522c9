"""Build the portable part of a rendered project into firmware.elf, with the host compiler."""

from pathlib import Path

from SCons.Script import Default, DefaultEnvironment

env = DefaultEnvironment()
env.Replace(CC="gcc")
project, build = Path(env.subst("$PROJECT_DIR")), Path(env.subst("$BUILD_DIR"))
(build / "stub.c").write_text("int main(void) { return 0; }\n")
sources = [*(project / "components/nanou_model/src").glob("*.c"), project / "app/protocol.c", build / "stub.c"]
env.Append(CPPPATH=[str(project / "components/nanou_model/include"), str(project / "app")], CCFLAGS=["-O2"])
objects = [env.Object(str(build / f"{path.name}.o"), str(path)) for path in sources]
Default(env.Program(str(build / "firmware.elf"), objects))
