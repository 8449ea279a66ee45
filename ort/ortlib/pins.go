package ortlib

import "fmt"

// DefaultVersion is the release that xpipe is tested with.
const DefaultVersion = "1.24.4"

// releasePage is where the project publishes its archives; a version and the name of an archive
// complete it.
const releasePage = "https://github.com/microsoft/onnxruntime/releases/download/v%s/%s"

// releaseArchive names the archive of a release for a platform, and is "" for platforms that
// releases do not cover.
func releaseArchive(version, goos, goarch string) string {
	platform := map[string]string{
		"linux/amd64":   "linux-x64-%s.tgz",
		"linux/arm64":   "linux-aarch64-%s.tgz",
		"darwin/arm64":  "osx-arm64-%s.tgz",
		"windows/amd64": "win-x64-%s.zip",
		"windows/arm64": "win-arm64-%s.zip",
	}[goos+"/"+goarch]
	if platform == "" {
		return ""
	}
	return fmt.Sprintf("onnxruntime-"+platform, version)
}

// archivePins holds the SHA-256 of release archives that were downloaded and inspected by hand.
// There are none yet; add one only after doing so.
var archivePins = map[string]string{}

// libraryPins holds the SHA-256 of the libraries themselves, taken from the wheels of onnxruntime
// 1.24.4 for CPython 3.13; the wheel for 3.11 on Linux x86_64 holds the same bytes. The archives of
// the release page hold other builds of the same release.
var libraryPins = map[string]string{
	"2d518e11c7767f9fdc4413bdbeb45acf30db504ff76a82fc19d9238a3f9f6c24": "libonnxruntime.so.1.24.4 of the wheel for manylinux x86_64",
	"f373ae5fd4d878ed17ebea26e5480bd3d0a15e3bd6bc94b878e6c1b73998d22a": "libonnxruntime.so.1.24.4 of the wheel for manylinux aarch64",
	"af321205fb850247e85774ec9c00fbd656dd0fadd31b97775be5f2055ff8db14": "libonnxruntime.1.24.4.dylib of the wheel for macOS arm64",
	"78b078a8b8230701a9de873b5108713d83a2c142d10222b7fa10e1d55b231096": "onnxruntime.dll of the 1.24.4 wheel for Windows amd64",
	"40d120455ffc8d104c73afa052422a795746881a8a342af187e978e63eb356ed": "onnxruntime.dll of the 1.24.4 wheel for Windows arm64",
	"086ec1d5388f64153d9c63470d126693db9a182c8ce236d3a1119068471b8a0d": "libonnxruntime_providers_shared.so of the 1.24.4 wheel for manylinux x86_64",
	"3b6be288fbfb7dff8770d08a23defdde18e8f7e0f5a2b344a0e5e238c999ea88": "libonnxruntime_providers_shared.so of the 1.24.4 wheel for manylinux aarch64",
	"8a2c77e2b44e62e822d089742ee0bb7fca9b0f9bfff9b745ddbd2e58e117b421": "onnxruntime_providers_shared.dll of the 1.24.4 wheel for Windows amd64",
	"cf31f6a9e90d9d180aad6fe2aa8e6c7a7803e9fe564172a245ee65480aa5b460": "onnxruntime_providers_shared.dll of the 1.24.4 wheel for Windows arm64",
}
