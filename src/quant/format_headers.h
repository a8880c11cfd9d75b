// Includes src/quant/NAME.h for every name of formats.def, so that the list stays the only place that knows them all:
// Boost.Preprocessor includes the second half of this file once a name.
#if !BOOST_PP_IS_ITERATING
#ifndef MPQ_QUANT_FORMAT_HEADERS_H
#define MPQ_QUANT_FORMAT_HEADERS_H
#include <boost/preprocessor/arithmetic/dec.hpp>
#include <boost/preprocessor/iteration/iterate.hpp>
#include <boost/preprocessor/seq/elem.hpp>
#include <boost/preprocessor/seq/size.hpp>
#include <boost/preprocessor/stringize.hpp>

#include "quant/formats.def"
#define MPQ_IN_BRACKETS(name, Type) (name)
#define MPQ_NAMES MPQ_FORMATS(MPQ_IN_BRACKETS)
#define BOOST_PP_ITERATION_PARAMS_1 (3, (0, BOOST_PP_DEC(BOOST_PP_SEQ_SIZE(MPQ_NAMES)), "quant/format_headers.h"))
#include BOOST_PP_ITERATE()
#undef MPQ_NAMES
#undef MPQ_IN_BRACKETS
#endif
#else
#include BOOST_PP_STRINGIZE(quant/BOOST_PP_SEQ_ELEM(BOOST_PP_ITERATION(), MPQ_NAMES).h)
#endif
