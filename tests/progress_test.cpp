#include "base/progress.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace mpq {
namespace {

TEST(Progress, BarRateAndTimeLeft) {
  EXPECT_EQ(progress_text({"train", "steps", "loss 0.43", 400, 100, 0, 10}, 8),
            "train [##------] 100/400 steps, 10.0/s, " + human_seconds(30) + " left, loss 0.43");
}

TEST(Progress, WorkOfAnEarlierRunIsNotInTheRate) {
  EXPECT_EQ(progress_text({"train", "steps", "", 400, 300, 200, 10}, 0),
            "train 300/400 steps, 10.0/s, " + human_seconds(10) + " left");
  EXPECT_EQ(progress_text({"train", "steps", "", 400, 200, 200, 10}, 0), "train 200/400 steps");
}

TEST(Progress, NothingToDo) {
  EXPECT_EQ(progress_text({"train", "steps", "", 0, 0, 0, 0}, 4), "train [----] 0/0 steps");
}

}  // namespace
}  // namespace mpq
