# gnuplot accuracy_by_rank.gp draws accuracy_by_rank.svg and accuracy_by_rank.png from accuracy_by_rank.tsv
set datafile separator tab
set encoding utf8
set title 'LoRA on imdb: accuracy against rank, 1 epoch(s), 95 % interval over seeds' noenhanced
set xlabel 'rank of the adapters' noenhanced
set ylabel 'test accuracy' noenhanced
set key outside right top Left reverse noenhanced
set grid lt 1 lw 1 lc rgb '#E4E4E4'
set border 3
set tics nomirror
set autoscale xfix
set offsets 0, 0, graph 0.05, graph 0.05
set logscale x 2
set terminal svg size 900,540 dynamic enhanced background 'white' font 'sans,13'
set output 'accuracy_by_rank.svg'
plot 'accuracy_by_rank.tsv' every ::1::6 using 2:4:5 with filledcurves fc rgb '#332288' fs transparent solid 0.15 notitle, \
     'accuracy_by_rank.tsv' every ::1::6 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 1 title 'LoRA, mean over seeds', \
     'accuracy_by_rank.tsv' every ::7::8 using 2:3 with lines lc rgb 'black' dt 3 lw 2 title 'all weights trained'
set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5
set output 'accuracy_by_rank.png'
plot 'accuracy_by_rank.tsv' every ::1::6 using 2:4:5 with filledcurves fc rgb '#332288' fs transparent solid 0.15 notitle, \
     'accuracy_by_rank.tsv' every ::1::6 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 1 title 'LoRA, mean over seeds', \
     'accuracy_by_rank.tsv' every ::7::8 using 2:3 with lines lc rgb 'black' dt 3 lw 2 title 'all weights trained'
