// Runs a CUDA kernel on the CPU, to find wrong indices and missing barriers where no device is.
//
// The threads of a block are coroutines of one thread. They run in turn, in a fixed order, each up to its next
// barrier; blocks run one after the other. What CUDA leaves undefined is an error here: a shuffle with a lane
// that has returned, threads of a block that wait at different barriers.
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstring>
#include <memory>
#include <string>
#include <typeinfo>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("shared_memory")))

using std::max;
using std::min;

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
static dim3 gridDim, blockDim, blockIdx, threadIdx;

// Where the linker puts what is __shared__.
extern "C" __attribute__((weak, visibility("hidden"))) char __start_shared_memory, __stop_shared_memory;

namespace emulated {

enum class State { ready, at_block, at_warp, done };

struct Thread {
    std::unique_ptr<char[]> stack;  // none before the thread runs for the first time
    jmp_buf place;
    dim3 index;
    State state;
    unsigned mask;
    char slot[8];
};

constexpr size_t STACK = 64 * 1024;
constexpr unsigned WARP = 32;

static std::vector<Thread> threads;
static unsigned current;
static jmp_buf scheduler;
static std::string problem;
static void (*body)(void*);
static void* body_arguments;

static void wait(State state) {
    threads[current].state = state;
    if (!_setjmp(threads[current].place)) _longjmp(scheduler, 1);
}

// A thread's stack serves for its number in every block.
static void enter() {
    for (;;) {
        body(body_arguments);
        wait(State::done);
    }
}

static void resume(unsigned thread) {
    current = thread;
    Thread& it = threads[thread];
    threadIdx = it.index;
    if (_setjmp(scheduler)) return;
    if (it.stack) _longjmp(it.place, 1);
    it.stack.reset(new char[STACK]);
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = it.stack.get();
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    makecontext(&context, enter, 0);
    setcontext(&context);
}

// Lets the threads of a warp go on once every lane that takes part is there; false when that can never be.
static bool release_warp(unsigned first) {
    unsigned last = std::min<unsigned>(first + WARP, threads.size()), waiting = 0, wanted = 0;
    for (unsigned t = first; t < last; ++t) {
        if (threads[t].state != State::at_warp) continue;
        waiting |= 1u << (t - first);
        wanted |= threads[t].mask;
    }
    if (waiting != wanted) return false;
    for (unsigned t = first; t < last; ++t)
        if (waiting >> (t - first) & 1) threads[t].state = State::ready;
    return true;
}

static bool all_in(State state) {
    return std::all_of(threads.begin(), threads.end(),
                       [=](const Thread& t) { return t.state == state || t.state == State::done; });
}

// Called when no thread is ready; false when none can ever be.
static bool release() {
    bool released = false, waiting = false;
    for (unsigned first = 0; first < threads.size(); first += WARP) {
        unsigned last = std::min<unsigned>(first + WARP, threads.size());
        for (unsigned t = first; t < last; ++t)
            if (threads[t].state == State::at_warp) {
                waiting = true;
                released |= release_warp(first);
                break;
            }
    }
    if (released) return true;
    if (waiting || !all_in(State::at_block)) return false;
    for (Thread& t : threads)
        if (t.state == State::at_block) t.state = State::ready;
    return true;
}

static void run_block(bool backwards) {
    // What an earlier block left is not there on a device either.
    std::fill(&__start_shared_memory, &__stop_shared_memory, '\xFF');
    for (unsigned t = 0; t < threads.size(); ++t) {
        threads[t].index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
        threads[t].state = State::ready;
    }
    while (!all_in(State::done)) {
        bool moved = false;
        for (unsigned i = 0; i < threads.size(); ++i) {
            unsigned t = backwards ? threads.size() - 1 - i : i;
            if (threads[t].state != State::ready) continue;
            resume(t);
            moved = true;
        }
        if (!moved && !release()) {
            problem = "threads wait for others that never come";
            return;
        }
    }
}

template <class T> T exchange(unsigned mask, T value, unsigned source) {
    unsigned lane = current % WARP, first = current - lane;
    std::memcpy(threads[current].slot, &value, sizeof(T));
    threads[current].mask = mask;
    wait(State::at_warp);
    T found;
    std::memcpy(&found, threads[first + source % WARP].slot, sizeof(T));
    wait(State::at_warp);
    return found;
}

template <class... P, size_t... I>
void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_cv_t<P>*>(arguments[I])...);
}

// What goes wrong, or nothing.
template <class... P>
const char* launch(void (*kernel)(P...), const unsigned* grid, const unsigned* block, void** arguments,
                   int backwards) {
    using Call = std::pair<void (*)(P...), void**>;
    static Call asked;
    asked = {kernel, arguments};
    body = [](void* made) {
        auto [function, given] = *static_cast<Call*>(made);
        call(function, given, std::index_sequence_for<P...>{});
    };
    body_arguments = &asked;
    bool failed = !problem.empty();
    problem.clear();
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    // Those of a launch that failed are in the middle of something.
    if (failed || threads.size() != blockDim.x * blockDim.y * blockDim.z) threads.clear();
    threads.resize(blockDim.x * blockDim.y * blockDim.z);
    for (unsigned b = 0; b < gridDim.x * gridDim.y * gridDim.z && problem.empty(); ++b) {
        blockIdx = {b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y};
        run_block(backwards);
    }
    return problem.c_str();
}

// The parameters' types as the compiler abbreviates them: f, x, Pf, PKf and so on.
template <class... P> const char* types(void (*)(P...)) {
    static std::string found = ((std::string(typeid(P).name()) + " ") + ...);
    return found.c_str();
}

}  // namespace emulated

inline void __syncthreads() { emulated::wait(emulated::State::at_block); }
inline void __syncwarp(unsigned mask = ~0u) { emulated::exchange(mask, 0, 0); }
template <class T> T __shfl_sync(unsigned mask, T value, int lane) {
    return emulated::exchange(mask, value, lane);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits) {
    return emulated::exchange(mask, value, emulated::current % emulated::WARP ^ bits);
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned by) {
    unsigned lane = emulated::current % emulated::WARP;
    return emulated::exchange(mask, value, lane + by < emulated::WARP ? lane + by : lane);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned __int128>(a) * b >> 64;
}
