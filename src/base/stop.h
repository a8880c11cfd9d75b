// A request to stop (Ctrl-C, SIGTERM, --timeout): long loops ask, write what is resumable, and throw Stopped.
#pragma once
namespace mpq {
void install_stop_signals();      // first signal: stop cleanly; second: at once
void stop_after(double seconds);  // --timeout; 0 = never
bool stop_requested();
bool stopped_by_signal();  // rather than by --timeout
void request_stop();
}  // namespace mpq
