# gnuplot pareto.gp draws pareto.svg and pareto.png from pareto.tsv
set datafile separator tab
set encoding utf8
set title 'What accuracy each size buys' noenhanced
set xlabel 'size of the model in MB, every operand in its number format' noenhanced
set ylabel 'test accuracy' noenhanced
set key outside right top Left reverse noenhanced
set grid lt 1 lw 1 lc rgb '#E4E4E4'
set border 3
set tics nomirror
set autoscale xfix
set offsets 0, 0, graph 0.05, graph 0.05
set logscale x 2
set terminal svg size 900,540 dynamic enhanced background 'white' font 'sans,13'
set output 'pareto.svg'
plot 'pareto.tsv' every ::1::100 using 2:3 with points lc rgb '#80332288' pt 7 ps 0.8 title 'nas', \
     'pareto.tsv' every ::101::114 using 2:3 with steps lc rgb '#BB2222' lw 3 title 'Pareto front', \
     'pareto.tsv' every ::115::116 using 2:3 with lines lc rgb 'black' dt 4 lw 2 title '--model tiny'
set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5
set output 'pareto.png'
plot 'pareto.tsv' every ::1::100 using 2:3 with points lc rgb '#80332288' pt 7 ps 0.8 title 'nas', \
     'pareto.tsv' every ::101::114 using 2:3 with steps lc rgb '#BB2222' lw 3 title 'Pareto front', \
     'pareto.tsv' every ::115::116 using 2:3 with lines lc rgb 'black' dt 4 lw 2 title '--model tiny'
