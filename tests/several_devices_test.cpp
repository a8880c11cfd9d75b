// Several devices at a time: their names, and the threads that use them.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/crew.h"
#include "base/error.h"
#include "base/parallel.h"
#include "tensor/device.h"

namespace mpq {
namespace {

std::string refusal(const std::string& names) {
  try {
    open_devices(names);
  } catch (const UserError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(SeveralDevices, BadListsAreUserErrors) {
  EXPECT_EQ(refusal("cuda:0,0"), "--device cuda:0,0: cuda:0 is named twice");
  EXPECT_EQ(refusal("cuda:0,cuda:1,cuda:0"), "--device cuda:0,cuda:1,cuda:0: cuda:0 is named twice");
  EXPECT_EQ(refusal("cuda:0,cpu"), "--device cuda:0,cpu: 'cpu' cannot be one of several devices");
  EXPECT_EQ(refusal("cpu,cuda:0"), "--device cpu,cuda:0: 'cpu' cannot be one of several devices");
  EXPECT_EQ(refusal("0,1"), "--device 0,1: '0' cannot be one of several devices");
  EXPECT_EQ(refusal("cuda:0,"), "--device cuda:0,: '' cannot be one of several devices");
  EXPECT_EQ(refusal("cuda:0,-1"), "--device cuda:0,-1: '-1' cannot be one of several devices");
  EXPECT_NE(refusal("cuda:998,999").find("--device cuda:998: "), std::string::npos) << refusal("cuda:998,999");
  EXPECT_EQ(open_devices("cpu").size(), 1u);
}

TEST(SeveralDevices, OneDeviceIsWhatOtherCommandsTake) {
  try {
    open_device("cuda:0,1");
    FAIL() << "two devices are not one";
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(), "--device cuda:0,1: this command computes on one device");
    EXPECT_EQ(error.hint(), "allowed here: cuda:0, cuda:1");
  }
}

TEST(Crew, WorkIsDoneInTheCallersThread) {
  const auto here = std::this_thread::get_id();
  for (const size_t tasks : {0, 1, 3}) {
    Crew crew;
    size_t calls = 0;
    crew.run(tasks, [&](size_t) {
      for (int i = 0; i < 100; ++i)
        crew.call([&] {
          EXPECT_EQ(std::this_thread::get_id(), here);
          ++calls;  // never by two at a time
        });
    });
    EXPECT_EQ(calls, 100 * tasks);
  }
}

TEST(Crew, ErrorsGoToWhoAskedAndThenToTheCaller) {
  Crew crew;
  std::atomic<int> caught = 0;
  const auto task = [&](size_t i) {
    try {
      if (i == 1) crew.call([] { throw UserError("the disk is full"); });
    } catch (const UserError&) {
      ++caught;
      throw;
    }
    for (;;) crew.stop_if_failed();
  };
  EXPECT_THROW(crew.run(3, task), UserError) << "not Stopped, which the others throw";
  EXPECT_EQ(caught, 1);
}

// A worker that is late must not take a task of the next job for one of the last.
TEST(Parallel, ManyShortJobsOfTwoSizesRunEveryTaskOnce) {
  const int before = threads();
  set_threads(3);
  std::atomic<int> count[64];
  for (int round = 0; round < 40000; ++round) {
    const int tasks = round % 2 ? 2 : 60;
    for (int i = 0; i < tasks; ++i) count[i] = 0;
    parallel_for(tasks, [&](int64_t i) { ++count[i]; });
    for (int i = 0; i < tasks; ++i) ASSERT_EQ(count[i], 1) << "task " << i << " of round " << round;
  }
  set_threads(before);
}

TEST(Parallel, SeveralThreadsMayUseThePool) {
  constexpr int64_t n = 2000;
  Crew crew;
  std::vector<std::vector<int>> visits(3, std::vector<int>(n, 0));
  crew.run(3, [&](size_t t) {
    for (int round = 0; round < 200; ++round) parallel_for(n, [&](int64_t i) { ++visits[t][i]; });
  });
  for (const auto& counts : visits) EXPECT_EQ(counts, std::vector<int>(n, 200));
}

}  // namespace
}  // namespace mpq
