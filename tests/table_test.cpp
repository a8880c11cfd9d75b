#include "app/table.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace mpq {
namespace {

Table sample() {
  Table table{{"family", "accuracy"}, {}};
  table.add({"integer", "0.84"});
  table.add({"log", "0.8"});
  return table;
}

TEST(Table, NumbersAlignToTheRight) {
  EXPECT_EQ(to_text(sample()),
            "family   accuracy\n"
            "-------  --------\n"
            "integer      0.84\n"
            "log           0.8\n");
}

TEST(Table, Markdown) {
  EXPECT_EQ(to_markdown(sample()),
            "| family  | accuracy |\n"
            "|---|--:|\n"
            "| integer |     0.84 |\n"
            "| log     |      0.8 |\n");
}

TEST(Table, TsvKeepsOneLineARow) {
  Table table{{"a", "b"}, {}};
  table.add({"x\ty", "line\nbreak"});
  EXPECT_EQ(to_tsv(table), "a\tb\nx y\tline break\n");
}

TEST(Table, RowsHaveTheHeadersWidth) { EXPECT_THROW(sample().add({"one cell"}), InternalError); }

}  // namespace
}  // namespace mpq
